"""The least that a dashboard of six tabs in textual can be: what start-up is compared with."""

from textual.app import App, ComposeResult
from textual.widgets import Static, TabbedContent, TabPane

TABS = ("images", "flavors", "vms", "keypairs", "locations", "volumes")
PANE = "All the {} are here."


class Bare(App[None]):
    """Six tabs, each with a line of text."""

    def compose(self) -> ComposeResult:
        """Lay out the tabs."""
        with TabbedContent():
            for name in TABS:
                with TabPane(name):
                    yield Static(PANE.format(name))


if __name__ == "__main__":
    Bare().run()
