"""Event data: recordings of event cameras as frames, a few per recording."""

from neurokd.data.events.cifar10_dvs import cifar10_dvs
from neurokd.data.events.dvs_gesture import dvs_gesture
from neurokd.data.events.folder import event_folder
from neurokd.data.events.frames import BINARY, GRADED, event_frames, saturated
from neurokd.data.events.nmnist import nmnist
from neurokd.data.events.recording import read_recording

__all__ = [
    "BINARY",
    "GRADED",
    "cifar10_dvs",
    "dvs_gesture",
    "event_folder",
    "event_frames",
    "nmnist",
    "read_recording",
    "saturated",
]
