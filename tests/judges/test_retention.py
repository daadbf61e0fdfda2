"""Golang's sumdb judges what is left of a trail after retention has made holes in it."""

import json
from pathlib import Path

import indelible
from indelible.config import AuditSettings, Bound, Retention
from indelible.events import encode_body
from indelible.trail.layout import Layout
from indelible.trail.proofs.stored import prove
from indelible.trail.start.opening import open_writer
from indelible.trail.upkeep.manage import manage
from indelible.trail.upkeep.orders import Retain
from tests.judges.test_fsck import operation, vkey
from tests.judges.test_proofs import Judge, judged, proofs_of
from tests.judges.tiles import trail_lines


def test_proofs_from_before_and_after_a_deletion_check(tmp_path: Path, judge: Judge) -> None:
    trail, audit = tmp_path / "audit.jsonl", AuditSettings(max_size=30_000)
    writer = open_writer(trail, audit, "test").writer
    for number in range(900):
        item = writer.service_event("alert", {"number": number}) if 300 <= number < 600 else None
        writer.append(encode_body(operation(number)) if item is None else item.body)
    writer.close()
    older = tmp_path / "older"
    older.write_bytes(Layout(trail).checkpoint.read_bytes())
    seqs = list(range(0, 900, 90))
    before = proofs_of(trail, tmp_path, seqs)

    rules = Retention(default=Bound(age=0.0), classes={"alert": Bound(age=1e9)})
    done = manage(trail, audit, Retain(retention=rules, backup_count=0))
    assert done["deleted_files"] > 4
    found = indelible.verify(trail)
    assert found.ok, found.findings
    left = {json.loads(line)["seq"] for line in trail_lines(trail)}
    gone, kept = [seq for seq in seqs if seq not in left], [seq for seq in seqs if seq in left]
    assert gone[0] < kept[0] < gone[-1], "the deletion has left no hole"

    record = (judge("proofcheck"), "record", str(vkey(trail)))
    checked = judged(*record, *before)
    assert checked.returncode == 0, checked.stderr
    after = []
    for seq in seqs:
        path = tmp_path / f"{seq}.after"
        path.write_bytes(prove(trail, seq).data())
        after += [str(tmp_path / f"{seq}.json"), str(path)]
    checked = judged(*record, *after)
    assert checked.returncode == 0, checked.stderr
