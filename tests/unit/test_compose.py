"""compose.yaml: what the Compose Specification allows, and what Treecast's own settings take."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from common.settings import ConsumeSettings, ProduceSettings

ROOT = Path(__file__).resolve().parents[2]
MODELS = {"produce": ProduceSettings, "consume": ConsumeSettings}
ROLES = {"producer": "produce", "replica-a": "consume", "replica-b": "consume"}


@cache
def compose() -> Any:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"][name]
    return found


def test_it_is_what_the_specification_allows() -> None:
    """No key is unknown, none has a value of another kind."""
    schema = json.loads((ROOT / "tests/data/schemas/compose-spec.json").read_text())
    jsonschema.Draft201909Validator(schema).validate(compose())


def test_a_slip_is_found() -> None:
    """The schema is the one that refuses: a key that Compose does not know."""
    schema = json.loads((ROOT / "tests/data/schemas/compose-spec.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft201909Validator(schema).validate({"services": {"a": {"readonly": True}}})


@pytest.mark.parametrize("name", ROLES)
def test_every_role_is_told_settings_that_it_takes(name: str) -> None:
    """Each variable is a setting of that role with a value that is allowed, and none that must be given is missing."""
    assert service(name)["command"] == [ROLES[name]]
    told = {key: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value) for key, value in service(name)["environment"].items()}
    fields = {key.removeprefix("TREECAST_").lower(): value for key, value in told.items()}
    settings = MODELS[ROLES[name]](
        state=Path("/var/lib/treecast"), **{"replica": name, **fields} if "replica" in fields else fields
    )
    assert str(settings.listen).endswith("9464")


@pytest.mark.parametrize("name", ROLES)
def test_every_role_is_confined_and_starts_when_the_broker_is_there(name: str) -> None:
    """Read-only root, no capability, no way to gain one; its state on a volume of its own; a probe that is answered."""
    one = service(name)
    assert (one["read_only"], one["cap_drop"], one["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert one["depends_on"] == {"rabbitmq": {"condition": "service_healthy"}}
    assert "healthcheck" in service("rabbitmq")
    assert "/readyz" in one["healthcheck"]["test"][-1]
    places = {volume.split(":")[-2 if volume.endswith(":ro") else -1] for volume in one["volumes"]}
    assert places == {"/srv/tree", "/var/lib/treecast"}


def test_the_source_is_mounted_read_only_and_no_two_share_a_volume() -> None:
    """The producer cannot write to the tree; each role has a tree and a state of its own, and every volume is declared."""
    assert "${SOURCE:-./docs}:/srv/tree:ro" in service("producer")["volumes"]
    named = [one.split(":")[0] for name in compose()["services"] for one in service(name)["volumes"] if one[0] != "$"]
    assert sorted(named) == sorted(compose()["volumes"])
    assert len(set(named)) == len(named)


def test_no_port_is_open_to_others() -> None:
    """The password of a laptop is known to everybody, so nothing that knows it is reached from outside."""
    assert not any("ports" in service(name) for name in compose()["services"])
