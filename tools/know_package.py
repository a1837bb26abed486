"""Make the package of this tree known to the virtual environment that runs this, without installing it.

usage: know_package.py DIRECTORY   (in the top directory; DIRECTORY is where the package lies)
"""

import pathlib
import shutil
import sys
import sysconfig

from scikit_build_core.build import prepare_metadata_for_build_wheel

site = pathlib.Path(sysconfig.get_path("purelib"))
for old in site.glob("cwaitgroup-*.dist-info"):
    shutil.rmtree(old)
prepare_metadata_for_build_wheel(str(site))
(site / "cwaitgroup.pth").write_text(f"{sys.argv[1]}\n")
