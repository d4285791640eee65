"""How long something took or will take, in the words of a person."""


def duration(seconds: float) -> str:
    """`3.2 s`, `5 s`, `47 s`, `4 min 47 s`, `1 h 12 min`."""
    if seconds < 9.95 and seconds != int(seconds):
        return f"{max(0.0, seconds):.1f} s"
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"
