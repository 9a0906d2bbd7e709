"""The page: what it says, that it needs nothing outside, and what it refuses."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from neurokd.errors import FileFormatError
from neurokd.report import write_report

LOADING = {"src", "href", "srcset", "poster", "action", "data", "xlink:href", "background"}
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags, attributes and text; complains about tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]


def page(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_the_whole_page(whole_report: Path) -> None:
    assert whole_report.name == "report.html" and whole_report.parent.name == "my-run"
    shown = Page(whole_report.read_text(encoding="utf-8"))
    for text in (
        "my-run",
        "convnet",
        "mnist-subset",
        "41",
        "loihi2",
        "The verdict holds: all 2 checked runtimes",
        "97.60 %",
        "−0.30",
        "all 1,234 integers compared",
        "McNemar p = 0.5",
        "The distilled student's test accuracy is 97.60 %",
        "With distillation it is 0.50 points higher",
        "A sample of class 7",
        "input: 784 neurons",
        "stage0: 20 neurons, no spikes",
        "Estimated: 32.5 µJ (16.2 – 130) per sample",
        "simulated by the maker before there was silicon",
        "assumed: nobody has published a measurement",
        "fitted to measurements on silicon",
        "a note on synapses",
        "90 µs (45 – 360)",
        "14 on 1 chip",
        "8 KiB",
        "traffic to the host",
        "a note on the chip",
        "stage0.vth",
    ):
        assert text in shown.text, text
    assert "Missing" not in shown.text
    # Accuracies, two curves, two panels, two bars, two energies.
    assert len(shown.images()) == 9


def test_nothing_is_loaded_from_outside_and_nothing_is_run(whole_report: Path) -> None:
    html = whole_report.read_text(encoding="utf-8")
    shown = Page(html)
    for tag, attributes in shown.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in LOADING:
                assert value is not None and value.startswith("data:image/")
    outside_data = re.sub(r'src="data:[^"]*"', "", html)
    assert "://" not in outside_data
    assert "url(" not in outside_data and "@import" not in outside_data


def test_every_image_has_a_text(whole_report: Path) -> None:
    for image in Page(whole_report.read_text(encoding="utf-8")).images():
        assert len(image["alt"] or "") > 20


def test_text_from_files_is_escaped(run_folder: Path) -> None:
    evil = "<script>alert('x')</script>"
    profile = json.loads((run_folder / "profile.json").read_text())
    profile["notes"] = [evil]
    profile["layers"][0]["name"] = evil
    profile["chip"] = evil
    profile["energy_lines"][0]["grade"] = f'"{evil}'
    (run_folder / "profile.json").write_text(json.dumps(profile))
    (run_folder / "config.toml").write_text(f'data = "{evil}"\n"{evil}" = 1\n')
    (run_folder / "loihi" / "lowering.json").write_text(json.dumps({evil: evil}))
    html = write_report(run_folder).read_text(encoding="utf-8")
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 6
    assert Page(html).text.count(evil) >= 6


def test_a_verdict_that_does_not_hold_says_which_and_why(run_folder: Path) -> None:
    only(run_folder, "verdict.json")
    values = json.loads((run_folder / "verdict.json").read_text())
    values["holds"] = values["rows"][1]["holds"] = False
    values["rows"][1] |= {"difference": -0.02, "p_value": 0.001}
    (run_folder / "verdict.json").write_text(json.dumps(values))
    text = page(run_folder).text
    assert "The verdict does not hold: ONNX Runtime." in text
    assert "2.00 points lower than the student (float)" in text
    assert "outside the tolerance of 0.5 points" in text
    assert "would seldom give such a difference (McNemar p = 0.001)" in text


def only(folder: Path, kept: str) -> None:
    """Leave one part in a run folder."""
    for path in folder.rglob("*"):
        if path.is_file() and path != folder / kept:
            path.unlink()


def test_missing_parts_are_named_with_their_commands(run_folder: Path) -> None:
    only(run_folder, "config.toml")
    (run_folder / "config.toml").write_text('role = "student"\n[distill]\n')
    text = page(run_folder).text
    for said in (
        "the student's training curves. neurokd train CONFIG --out RUN makes it",
        "the teacher's training curves. neurokd teach CONFIG --out RUN/teacher makes it",
        "the same student without distillation, to compare with. neurokd train CONFIG",
        "counts, energy and latency. neurokd profile RUN makes it",
        "the verdict. neurokd verify RUN makes it",
        "the spikes of one sample. neurokd profile RUN makes it",
        "the account of the lowering. neurokd export RUN --target loihi makes it",
    ):
        assert f"Missing: {said}" in text
    assert text.count("Missing: ") == 7


def test_a_student_without_a_teacher_misses_none(run_folder: Path) -> None:
    only(run_folder, "config.toml")
    (run_folder / "config.toml").write_text('role = "student"\n')
    text = page(run_folder).text
    assert "the student's training curves" in text and "RUN/" not in text
    assert text.count("Missing: ") == 5


def test_a_teachers_page_is_about_its_training(run_folder: Path) -> None:
    (run_folder / "config.toml").write_text('role = "teacher"\n')
    for name in ("teacher", "baseline"):
        (run_folder / name / "metrics.jsonl").unlink()
    text = page(run_folder).text
    assert "the teacher of spiking ones" in text and "The teacher's training loss" in text
    assert "student" not in text and "Missing" not in text and "Verdict" not in text
    only(run_folder, "config.toml")
    text = page(run_folder).text
    assert "Missing: its training curves. neurokd teach CONFIG --out RUN makes it" in text
    assert text.count("Missing: ") == 1


def test_a_missing_configuration_is_named(run_folder: Path) -> None:
    only(run_folder, "loihi/lowering.json")
    text = page(run_folder).text
    assert "Missing: the configuration of the training. neurokd train CONFIG" in text
    assert text.count("Missing: ") == 7


def test_a_folder_without_any_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="nothing to report on") as raised:
        write_report(tmp_path)
    assert raised.value.where == str(tmp_path)
    with pytest.raises(FileFormatError, match="no such folder"):
        write_report(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("part", "content", "said"),
    [
        ("profile.json", '{"chip": ', "not JSON"),
        ("profile.json", "[1]", "not a JSON object.*list"),
        ("profile.json", '{"chip": "loihi2"}', "not a profile.*samples"),
        ("verdict.json", "{}", "not a verdict"),
        ("metrics.jsonl", '{"epoch": 1, "split": "train"}\n{"epo', "metrics.jsonl, line 2"),
        ("metrics.jsonl", '{"epoch": 1, "split": "dev"}', "line 1.*split"),
        ("metrics.jsonl", '{"epoch": 1, "split": "train", "loss": NaN}', "line 1.*loss"),
        ("config.toml", "role = ", "not TOML"),
        ("raster.npz", "PK\x03\x04 cut off", "not a raster"),
        ("raster.npz", "foreign", "not a raster"),
        ("loihi/lowering.json", "{", "not JSON"),
    ],
)
def test_a_broken_part_is_refused_by_name(
    run_folder: Path, part: str, content: str, said: str
) -> None:
    (run_folder / part).write_text(content)
    with pytest.raises(FileFormatError, match=said) as raised:
        write_report(run_folder)
    assert str(run_folder / part) in str(raised.value)
    assert not (run_folder / "report.html").exists()


def test_a_band_out_of_order_is_refused(run_folder: Path) -> None:
    profile = json.loads((run_folder / "profile.json").read_text())
    profile["layers"][1]["energy_pj"]["low"] = 1e12
    (run_folder / "profile.json").write_text(json.dumps(profile))
    with pytest.raises(FileFormatError, match=r"layers\.1\.energy_pj"):
        write_report(run_folder)


def test_a_raster_of_unequal_steps_is_refused(run_folder: Path) -> None:
    np.savez(
        run_folder / "raster.npz",
        label=np.int64(0),
        population_order=np.array(["a", "b"]),
        a=np.zeros((3, 4)),
        b=np.zeros((4, 4)),
    )
    with pytest.raises(FileFormatError, match=r"a \(3, 4\), b \(4, 4\)"):
        write_report(run_folder)


def test_objects_are_not_unpickled(run_folder: Path) -> None:
    np.savez(
        run_folder / "raster.npz",
        label=np.int64(0),
        population_order=np.array([{"evil": 1}], dtype=object),
    )
    with pytest.raises(FileFormatError, match="not a raster"):
        write_report(run_folder)


def test_zero_energy_can_be_drawn_and_no_layer_is_refused(run_folder: Path) -> None:
    only(run_folder, "profile.json")
    profile = json.loads((run_folder / "profile.json").read_text())
    zero = {"low": 0, "nominal": 0, "high": 0}
    for holder in (*profile["layers"], *profile["energy_lines"], profile):
        holder["energy_pj"] = zero
    (run_folder / "profile.json").write_text(json.dumps(profile))
    assert "Estimated: 0 pJ per sample" in page(run_folder).text
    (run_folder / "profile.json").write_text(json.dumps({**profile, "layers": []}))
    with pytest.raises(FileFormatError, match="layers"):
        write_report(run_folder)


def test_a_plain_array_is_not_a_raster(run_folder: Path) -> None:
    with (run_folder / "raster.npz").open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(FileFormatError, match="not a raster.*a single array"):
        write_report(run_folder)
