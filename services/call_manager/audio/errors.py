"""The one error of audio that can't be used."""


class AudioError(ValueError):
    """This audio can't be played. The text says why, and holds nothing of the audio itself."""
