"""The one error of the benchmark."""


class MeasurementFailed(Exception):
    """A measurement could not be made, or is not worth believing. Says why."""
