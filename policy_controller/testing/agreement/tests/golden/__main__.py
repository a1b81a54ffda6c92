"""Writes every golden rule set anew; see the package."""

from policy_controller.testing.agreement.tests.golden import DIRECTORY, NODE_OF, path_of, tables_of, text_of

if __name__ == "__main__":
    for stale in set(DIRECTORY.glob("*.nft")) - set(map(path_of, NODE_OF)):
        stale.unlink()
    for example in NODE_OF:
        path_of(example).write_text(text_of(tables_of(example)))
