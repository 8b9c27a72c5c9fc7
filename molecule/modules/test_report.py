"""The report on a fleet: every host is in it, whatever state it is in, and nothing is changed."""

import json


def test_the_report_has_every_host_and_what_is_wrong_with_it(fleet):
    """One as it should be, one that was edited, one with a change that waits, one without hostfw, one out of reach."""
    fleet.add("fine", "edited", "trial", "bare")
    fleet.add("dead", ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)
    arguments = ("-e", f"hostfw_directory={fleet.policies('web')}", "--limit", "fine,edited,trial")
    assert fleet.run("role", *arguments).status == 0
    path = fleet.state("edited") / "etc/web.yaml"
    path.write_text(path.read_text().replace("1000", "1001"))
    (fleet.state("trial") / "deadline").write_text("99999999999")
    (fleet.state("bare") / "hostfwctl").unlink()
    for name in ("edited", "fine", "trial"):
        fleet.variables[name]["hostfw_previous_dir"] = f"{fleet.top}/hosts/{name}/previous"
    files = [f"{fleet.top}/report.{ending}" for ending in ("json", "html", "txt")]

    done = fleet.run("report", "-e", json.dumps({"hostfw_report_to": files}))

    assert done.status == 0, done.text
    assert all(done.changed(name) == 0 for name in fleet.variables)
    found = {item["host"]: item for item in json.loads((fleet.top / "report.json").read_text())["hosts"]}
    assert found["fine"]["findings"] == []
    assert found["fine"]["generation"]
    assert "edited on the host: ~ web.yaml" in found["edited"]["findings"]
    assert any(line.startswith("a change waits to be confirmed") for line in found["trial"]["findings"])
    assert found["bare"]["findings"] == ["hostfw is not installed"]
    assert not found["dead"]["reached"]
    assert "<td" in (fleet.top / "report.html").read_text()
    assert (fleet.top / "report.txt").read_text().startswith("5 hosts, 4 with findings")

    insisted = fleet.run("report", "-e", "hostfw_report_insist=true")

    assert insisted.status != 0
    assert "4 hosts have findings: bare, dead, edited, trial" in " ".join(insisted.text.split())


def test_facts_of_hostfw_stay_in_the_cache_for_a_rendering(fleet):
    """The interfaces as hostfw sees them are what `render` knows a host by."""
    fleet.add("web1")
    cache = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(fleet.top / "cache")}

    done = fleet.run("report", **cache)

    assert done.status == 0, done.text
    arguments = ("-e", f"hostfw_directory={fleet.policies('web')}", "-e", f"hostfw_render_to={fleet.top}/rendered")
    rendered = fleet.run("render", *arguments, **cache)
    assert "known by facts that hostfw gave: web1" in rendered.text
