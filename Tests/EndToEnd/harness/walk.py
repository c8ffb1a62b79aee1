"""How a demo prints: numbered steps, what was sent, what came back, and whether that showed what it claims."""

import sys

COLOR = sys.stdout.isatty()


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOR else text


class Walk:
    """Steps so far, claims that were not shown, and steps that could not be taken here."""

    def __init__(self):
        self.number = 0
        self.broken = []
        self.skipped = []

    def step(self, title):
        self.number += 1
        print(f"\n{paint('1', f'{self.number}. {title}')}")

    def sent(self, text):
        print(f"   {paint('36', '→')} {text}")

    def came(self, text, columns=160):
        for line in str(text).rstrip().splitlines()[:14]:
            print(f"   {paint('33', '←')} {line[:columns]}")

    def shows(self, holds, text):
        mark = paint("32", "✓") if holds else paint("31", "✗ NOT SHOWN:")
        print(f"   {mark} {text}")
        if not holds:
            self.broken.append(f"{self.number}. {text}")

    def skips(self, reason):
        """This step cannot be taken here."""
        self.skipped.append(f"{self.number}. {reason}")
        self.came(f"not shown: {reason}")

    def verdict(self):
        """The last lines, and the exit code."""
        print()
        if self.broken:
            print(paint("31", f"{len(self.broken)} claims were not shown:"))
            for claim in self.broken:
                print(f"   {claim}")
        else:
            print(paint("32", f"All {self.number - len(self.skipped)} steps showed what they claim."))
        for step in self.skipped:
            print(f"Not shown: {step}")
        return 1 if self.broken else 0
