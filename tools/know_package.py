"""Make the package of this tree known to the virtual environment that runs this, without installing it.

usage: know_package.py DIRECTORY   (in the top directory; DIRECTORY is where the package lies)
"""

import pathlib
import sys
import sysconfig

from scikit_build_core.build import prepare_metadata_for_build_wheel

site = sysconfig.get_path("purelib")
pathlib.Path(site, "cwaitgroup.pth").write_text(f"{sys.argv[1]}\n")
prepare_metadata_for_build_wheel(site)
