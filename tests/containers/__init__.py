"""What needs other machines than this one, or stands in for them. `make test-containers` runs it; `make test` does not.

conftest.py          options and fixtures
arm64_root.py        a Debian for arm64 whose programs run here
coded_frames.py      what one machine makes of many frames, as one line
test_arm64_golden.py frames are coded on arm64 as they are here
docker_engine.py     an engine of its own, base images and wheels without a registry
test_images.py       both images, the compose file, an edge for arm64
"""
