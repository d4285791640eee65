"""Dependencies in S3: judged as DVC judges them, and a clear word when the keys are wrong or nobody answers. The endpoint is real, on loopback."""

from pathlib import Path

import pytest

from orchestration.bridge.graph import GraphError
from orchestration.bridge.materialize import StageFailed
from tests import lab
from tests.orchestration.bridge.toy import Toy, build

pytestmark = [pytest.mark.cluster, lab.needs_lab()]


def test_an_input_in_s3_is_judged_as_dvc_judges_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    with lab.s3() as s3:
        for name, value in s3.env.items():
            monkeypatch.setenv(name, value)
        bucket = s3.make_bucket("inputs")
        keys = {"aws_access_key_id": s3.key, "aws_secret_access_key": s3.secret, "region_name": "us-east-1"}
        client = boto3.session.Session().client("s3", endpoint_url=s3.endpoint, **keys)
        client.put_object(Bucket="inputs", Key="words.txt", Body=b"one\n")
        stage = "stages:\n  seen:\n    cmd: date +%N > seen.txt\n    deps: ['remote://shared/words.txt']\n    outs: [seen.txt]\n"
        toy: Toy = build(tmp_path / "toy", {"dvc.yaml": stage, ".gitignore": "/.figment\n"})
        toy.dvc("remote", "add", "-q", "shared", bucket)
        toy.dvc("remote", "modify", "shared", "endpointurl", s3.endpoint)

        toy.make_all()
        assert toy.stale() == toy.dvc_stale() == set()
        toy.repro()
        assert toy.stale() == toy.dvc_stale() == set()
        client.put_object(Bucket="inputs", Key="words.txt", Body=b"one\ntwo\n")
        assert toy.stale() == toy.dvc_stale() == {"seen"}
        toy.make_all()
        assert toy.stale() == toy.dvc_stale() == set()
        assert client.get_object(Bucket="inputs", Key="words.txt")["Body"].read() == b"one\ntwo\n"

        s3.kill()
        assert toy.stale() == {"seen"} and "words.txt" in str(toy.status()["seen"].causes)
        with pytest.raises((StageFailed, GraphError), match=r"words\.txt"):
            toy.make("seen")
