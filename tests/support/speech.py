"""What espeak-ng says, asked beside the platform: the expectation that heard speech is compared with."""

import subprocess

from deploy.lab.lab import Lab
from tests.support.phone_audio import Samples, read_wav


def spoken(lab: Lab, text: str, language: str = "en-us") -> Samples:
    """The text as speech."""
    argv = [str(lab.paths.bin / "espeak-ng"), "-v", language, "--stdout", "--stdin"]
    done = subprocess.run(argv, input=text.encode(), capture_output=True, check=True)
    return read_wav(done.stdout)
