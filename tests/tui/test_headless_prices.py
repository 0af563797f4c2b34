"""Prices in the shell: a refusal is said once, and `price refresh` fetches them."""

from backend.providers.ec2.prices import ENDPOINT
from tests.backend.ec2_faults import Faults
from tests.ec2_proxy import FLAVORS
from tests.pricing import DENIED, page, product
from tests.tui.shell import Shell, sentence

SAID = "Its keys may not do pricing:GetProducts"


def test_the_shell_says_a_refusal_once(shell: Shell) -> None:
    with Faults(DENIED) as faults:
        environment = {**shell.environment, ENDPOINT: faults.url}
        refused = shell.run("--refresh", "flavors", "--json", env=environment)
        assert (refused.returncode, SAID in sentence(refused)) == (0, True)
        again = shell.run("flavor", "refresh", env=environment)
        assert (again.returncode, again.stderr, len(faults.asked)) == (0, "", 1)
    with Faults(page(*(product(name, "0.5") for name in FLAVORS))) as faults:
        environment = {**shell.environment, ENDPOINT: faults.url}
        found = shell.run("price", "refresh", env=environment)
        assert (found.returncode, found.stderr) == (0, "")
        assert found.stdout.startswith("2 prices of us-east-1, on demand, ")
        assert '"price": 0.5' in shell.run("flavor", "list", "--json", env=environment).stdout
        assert len(faults.asked) == 1
    # Without the variable a cloud with an endpoint asks nobody.
    assert '"price": 0.5' not in shell.done("flavor", "list", "--json")
