"""A configuration file to fill in: every setting, explained, with its default."""

from __future__ import annotations

import textwrap

from casa_env.options import declarations
from casa_env.values import shown

__all__ = ["config_template"]

_HEAD = """\
# Settings of casa_env. A facility mounts this file as /etc/casa-env/config.toml; a
# user's own is ~/.config/casa-env/config.toml and wins. Every line is a default:
# remove the "# " before a setting to change it. `casa-env show` prints what holds and
# where it came from. `casa-env show --template` prints this file.
#
# Each setting is also a variable, CASA_ENV_ and its name in capitals, which wins over
# the files; the variables named in brackets are other tools' own and win too.
#
# Several profiles may stand at the end, and one is picked with `profile` above them,
# CASA_ENV_PROFILE or --profile; its settings win over those above:
#
#   [profile.batch]
#   dask_backend = "slurm"
"""


def config_template() -> str:
    """Return the text of a configuration file in which every setting is a comment.

    Returns
    -------
    str
        TOML; secrets are left out, because they may not stand in a file.
    """
    parts = [_HEAD]
    for name, option in declarations().items():
        if option.metadata["secret"]:
            continue
        variables = ", ".join(option.metadata["variables"])
        choices = " | ".join(option.metadata["choices"])
        doc = option.metadata["doc"]
        doc += f": {choices}" if choices else ""
        doc += f" [{variables}]" if variables else ""
        parts.append(
            f"\n{textwrap.fill(doc, 86, initial_indent='# ', subsequent_indent='# ')}"
            f"\n# {name} = {shown(option.default)}\n"
        )
    return "".join(parts)
