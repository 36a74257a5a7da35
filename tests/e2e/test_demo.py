"""`make demo` does what it says, and leaves what the README's next steps need."""

import re
import subprocess
import sys

import httpx

from deploy.lab.lab import Lab


def run(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "deploy.lab.demo", *arguments]
    return subprocess.run(
        argv, cwd=lab.paths.project, capture_output=True, text=True, timeout=90, check=False
    )


def test_the_demo(platform: Lab) -> None:
    """ "prints the call's timeline and one last line `demo: ok …` … with exit status 0"."""
    demo = run(platform)
    exports = run(platform, "--export")

    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stdout.splitlines()[-1].startswith("demo: ok"), demo.stdout
    assert re.search(r'\d\d:\d\d:\d\d\.\d{3}  phone  has heard "Welcome', demo.stdout)
    assert re.search(r"\d\d:\d\d:\d\d\.\d{3}  call   over: normal, by local", demo.stdout)
    assert (platform.paths.base / "demo.json").stat().st_mode & 0o777 == 0o600
    variables = dict(re.findall(r"^export (\w+)='?([^'\n]+)'?$", exports.stdout, re.MULTILINE))
    answer = httpx.get(
        f"{variables['API']}/v1.0/calls", headers={"Authorization": f"Bearer {variables['KEY']}"}
    )
    numbers = {call["destination"]["target"] for call in answer.json()["result"]}
    assert variables["NUMBER"] in numbers
