"""A repair as a run: through the command line, on the embedded digits."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import calipers as cal
from calipers.attacks import FGSM
from calipers.cli.main import main
from calipers.core.errors import CalipersError, InputError, ModelError
from calipers.core.threat import ThreatModel
from calipers.core.tracker import Silent
from calipers.data.digits import load_digits
from calipers.evaluate.repair.apply import apply_patch
from calipers.evaluate.repair.prepare import Asked, prepare_repair
from calipers.evaluate.repair.run import repair_in
from calipers.evaluate.repair.task import CODEC
from calipers.evaluate.repair.worker import RepairWorker
from calipers.models import load_model
from calipers.models.export import export_onnx
from calipers.repairs.patch import Patch
from calipers.repairs.settings import Guarantee, RepairSettings
from calipers.report.views import view_of
from calipers.store.store import Store

LINEAR = RepairSettings(Guarantee.LINEAR, radius=0.002)


def _typed(monkeypatch: pytest.MonkeyPatch, words: str, status: int = 0) -> None:
    """Run the program."""
    monkeypatch.setattr("sys.argv", ["calipers", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status


def _worker(folder: Path, asked: Asked | None = None, failures: Path | None = None) -> RepairWorker:
    model = cal.load_model("digits.small")
    evaluation, reference = (cal.load_dataset("digits", split, 80) for split in ("test", "train"))
    asked = replace(asked or Asked(LINEAR, wanted=4), attack=FGSM(), out=folder / "patch.json")
    return prepare_repair(model, evaluation, reference, ThreatModel("linf", 0.1), asked, failures)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a finished repair, and its run."""
    folder = tmp_path_factory.mktemp("repair")
    with Store(folder / "runs") as store:
        ended = repair_in(store, _worker(folder), "calipers repair", Silent())
    return folder, ended.run_id


def test_failures_are_fixed_balls_proven_certified_and_all_of_it_is_said(done: tuple[Path, str]) -> None:
    folder, run_id = done
    with Store(folder / "runs") as store:
        view = view_of(store, run_id)
        numbers = view.numbers["repair"]
    assert numbers["fixed"] == numbers["failures"] == numbers["balls"] == numbers["verified"] == 4
    assert len(numbers["certificates"]) == 4
    assert numbers["held_out"] > 0
    rows = {row["name"]: row for row in view.rows["rows"]}
    assert rows["fixed"]["measured"] == rows["certified-balls"]["measured"] == 1
    assert rows["clean"]["n"] == rows["empirical"]["n"] == 80
    assert rows["empirical"]["measured"] <= rows["clean"]["measured"]
    page = view.html()
    assert "4 of 4" in page
    assert "cannot create robustness" in page


def test_the_patch_makes_the_model_that_the_certificates_speak_of(
    done: tuple[Path, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = done
    patch = Patch.load(folder / "patch.json")
    apply_patch(patch, cal.load_model("digits.small"), "digits.small", None, folder / "repaired.json")
    repaired = load_model(str(folder / "repaired.json"))
    assert repaired.digest == patch.card.after
    _typed(monkeypatch, f"check {folder / patch.card.certificates[0]} --model {folder / 'repaired.json'}")
    assert "accepted" in capsys.readouterr().out


def test_the_same_repair_gives_the_same_records(done: tuple[Path, str], tmp_path: Path) -> None:
    folder, run_id = done
    with Store(folder / "runs") as store:
        first = store.records(run_id, CODEC)
    with Store(tmp_path / "runs") as store:
        again = store.records(repair_in(store, _worker(tmp_path), "again", Silent()).run_id, CODEC)

    def timeless(values: dict[str, object]) -> dict[str, object]:
        return {key: value for key, value in values.items() if key not in ("seconds", "patch")}

    assert [(r.part, r.place, timeless(r.values)) for r in first] == [
        (r.part, r.place, timeless(r.values)) for r in again
    ]


@pytest.mark.parametrize("part", ["change", "compare", "patch", pytest.param("proof", marks=pytest.mark.full)])
def test_a_repair_that_was_stopped_goes_on_where_it_was(tmp_path: Path, part: str) -> None:
    asked = Asked(LINEAR, wanted=2)
    worker = _worker(tmp_path, asked)

    class Stopped(RepairWorker):
        def execute(self, unit: object) -> object:  # type: ignore[override]
            if getattr(unit, "part", "") == part:
                raise KeyboardInterrupt
            return super().execute(unit)  # type: ignore[arg-type]

    stopping = Stopped(**{name: getattr(worker, name) for name in worker.__dataclass_fields__})
    with Store(tmp_path / "runs") as store:
        with pytest.raises(KeyboardInterrupt):
            repair_in(store, stopping, "stopped", Silent())
        (run,) = store.runs()
        before = set(store.units(run.run_id))
        assert not (tmp_path / "patch.json").exists()
        ended = repair_in(store, worker, "again", Silent(), resume=True)
        assert ended.run_id == run.run_id
        assert before < set(store.units(run.run_id))
        assert ended.status == "complete"
    assert (tmp_path / "patch.json").exists()


def test_a_repair_that_costs_too_much_is_rejected(tmp_path: Path) -> None:
    asked = Asked(RepairSettings(objective="l2", margin=50.0), wanted=20, max_drawdown=0.0)
    with Store(tmp_path / "runs") as store:
        ended = repair_in(store, _worker(tmp_path, asked), "too much", Silent())
        assert store.metric(ended.run_id, "repair")["accepted"] is False
        assert "no patch was written" in view_of(store, ended.run_id).html()
    assert not (tmp_path / "patch.json").exists()


def _failures(folder: Path, count: int = 3, wrong: bool = True) -> Path:
    x, labels = load_digits("test").batch(range(count))
    path = folder / "failures.npz"
    np.savez(path, inputs=x.numpy(), labels=((labels + wrong) % 10).numpy())
    return path


def test_failures_from_a_file_are_repaired(tmp_path: Path) -> None:
    asked = Asked(RepairSettings(margin=0.5), wanted=3)
    with Store(tmp_path / "runs") as store:
        ended = repair_in(store, _worker(tmp_path, asked, _failures(tmp_path)), "file", Silent())
        assert store.metric(ended.run_id, "repair")["fixed"] == 3


def test_files_of_failures_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        _worker(tmp_path, None, tmp_path / "none.npz")
    path = tmp_path / "bad.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot be read"):
        _worker(tmp_path, None, path)
    np.savez(path, inputs=np.zeros((2, 1, 8, 8)))
    with pytest.raises(InputError, match="holds inputs; accepted: arrays inputs and labels"):
        _worker(tmp_path, None, path)
    np.savez(path, inputs=np.zeros((2, 1, 7, 7)), labels=np.zeros(2, dtype=int))
    with pytest.raises(InputError, match=r"inputs have shape \(2, 1, 7, 7\)"):
        _worker(tmp_path, None, path)
    np.savez(path, inputs=np.zeros((2, 1, 8, 8)), labels=np.array([0, 12]))
    with pytest.raises(InputError, match="labels run from 0 to 12; accepted: 0 to 9"):
        _worker(tmp_path, None, path)
    with Store(tmp_path / "runs") as store, pytest.raises(InputError, match="3 of 3 failures are classified as"):
        repair_in(store, _worker(tmp_path, None, _failures(tmp_path, wrong=False)), "right", Silent())


def test_a_patch_for_another_model_or_a_damaged_one_is_refused(done: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = done
    patch = Patch.load(folder / "patch.json")
    with pytest.raises(ModelError, match="it was made for a model with digest"):
        patch.apply(cal.load_model("digits.robust").module)
    repaired = patch.apply(cal.load_model("digits.small").module)
    with pytest.raises(ModelError, match="it is applied already"):
        patch.apply(repaired)
    with pytest.raises(ModelError, match="cannot be read"):
        Patch.load(tmp_path / "none.json")
    for name in ("patch.json", "patch.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "patch.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="is damaged"):
        Patch.load(tmp_path / "patch.json")
    (tmp_path / "patch.json").write_text("{}")
    with pytest.raises(ModelError, match="is no patch"):
        Patch.load(tmp_path / "patch.json")
    changed = replace(patch, delta={name: value + 1 for name, value in patch.delta.items()})
    with pytest.raises(ModelError, match="is not the one of its card"):
        changed.apply(cal.load_model("digits.small").module)


def test_an_onnx_model_is_repaired_as_the_same_file_with_other_numbers(tmp_path: Path) -> None:
    source = tmp_path / "digits.onnx"
    export_onnx(cal.load_model("digits.small").module, source, (1, 8, 8))
    before = source.read_bytes()
    model = cal.load_model(source)
    x, labels = load_digits("test").batch(range(3))
    patch = cal.repair(model, (x.numpy(), ((labels + 1) % 10).numpy()), cal.load_dataset("digits", "train", 200))
    apply_patch(patch, model, str(source), None, tmp_path / "repaired.onnx")
    after = cal.load_model(tmp_path / "repaired.onnx").module
    assert after(x).argmax(1).tolist() == ((labels + 1) % 10).tolist()
    assert source.read_bytes() == before
    with pytest.raises(InputError, match="would overwrite the model"):
        apply_patch(patch, model, str(source), None, source)


def test_python_repairs_in_memory() -> None:
    model = cal.load_model("digits.small").module
    x, labels = load_digits("test").batch(range(5))
    wrong = (labels + 1) % 10
    clean = cal.load_dataset("digits", "train", 200)
    patch = cal.repair(model, (x.numpy(), wrong.numpy()), clean, guarantee="linear", radius=0.001, margin=0.5)
    after = patch.apply(model)
    assert torch.equal(after(x).argmax(1), wrong)
    assert patch.card.numbers["fixed"] == 5
    with pytest.raises(InputError, match="guarantee: 'certain'"):
        cal.repair(model, (x.numpy(), wrong.numpy()), clean, guarantee="certain")


def test_the_command_line_repairs_and_applies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    searched = "--data digits --attack fgsm --eps 0.1 --samples 80 --wanted 3"
    _typed(monkeypatch, f"repair --model digits.small {searched} --json -")
    assert json.loads(capsys.readouterr().out)["repair"]["fixed"] == 3
    _typed(monkeypatch, "apply patch.json --model digits.small --out new.safetensors")
    assert (tmp_path / "new.safetensors").is_file()
    _typed(monkeypatch, "show latest")
    assert "3 of 3 failures are repaired" in capsys.readouterr().out


def test_the_command_line_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    _typed(monkeypatch, "repair --model digits.small", status=2)
    _typed(monkeypatch, "repair --model digits.small --property p.vnnlib --data digits", status=2)
    _typed(monkeypatch, "repair --model digits.small --property p.vnnlib", status=2)


def test_no_failures_are_an_error(tmp_path: Path) -> None:
    worker = _worker(tmp_path)
    tiny = replace(worker, subject=replace(worker.subject, threat=ThreatModel("linf", 1e-6).for_model(None)))
    with Store(tmp_path / "runs") as store, pytest.raises(CalipersError, match="no failures were given or found"):
        repair_in(store, tiny, "none", Silent())
