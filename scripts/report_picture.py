"""A picture of a page, such as a batch's report, as a browser shows it.

    xvfb-run -a python scripts/report_picture.py out/report.html report.png

Needs Qt's browser beside Qt (``pip install PyQt6-WebEngine``), which nothing else here does.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

_WAIT_MS = 1500  # pictures of a page are loaded after it


def main() -> None:
    """Open the page, wait until it is drawn, and save what is seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument(
        "--size", type=int, nargs=2, default=(1280, 900), metavar=("WIDTH", "HEIGHT")
    )
    asked = parser.parse_args()
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        os.environ.setdefault("QTWEBENGINE_DISABLE_SANDBOX", "1")  # Chromium refuses root otherwise

    from qtpy.QtCore import QTimer, QUrl
    from qtpy.QtWebEngineWidgets import QWebEngineView
    from qtpy.QtWidgets import QApplication

    app = QApplication(sys.argv[:1])
    view = QWebEngineView()
    view.resize(*asked.size)
    view.loadFinished.connect(lambda: QTimer.singleShot(_WAIT_MS, take))

    def take() -> None:
        view.grab().save(str(asked.picture))
        app.quit()

    view.load(QUrl.fromLocalFile(str(asked.page.resolve())))
    view.show()
    app.exec()


if __name__ == "__main__":
    main()
