# A timeline in vizviewer, in a Chromium without a screen.

.PHONY: verify-viewer timeline-picture
verify-viewer: python $(PY_READY_VIEWER) | system-verify-viewer
	$(PYTHON) -m pytest tests/viewer

timeline-picture: python $(PY_READY_VIEWER) | system-verify-viewer ## draw the picture of a timeline in the documents
	$(PYTHON) tests/viewer/picture.py docs/timeline.png
