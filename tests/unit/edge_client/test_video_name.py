import pytest

from edge_client.video_name import kind_of, shown_video


@pytest.mark.parametrize(
    ("video", "kind", "shown"),
    [
        ("0", "camera", "camera0"),
        ("/dev/video2", "camera", "/dev/video2"),
        ("clip.mp4", "file", "clip.mp4"),
        ("/dev/shm/clip.mp4", "file", "/dev/shm/clip.mp4"),
        ("odd ! name.mp4", "pipeline", "odd ! name.mp4"),
        ("file:///tmp/clip.mp4", "file", "file:///tmp/clip.mp4"),
        ("rtsp://10.0.0.7:554/main", "url", "rtsp://10.0.0.7:554/main"),
        ("RTSP://admin:secret@10.0.0.7/main", "url", "RTSP://10.0.0.7/main"),
        ("http://cam/a@b", "url", "http://cam/a@b"),
        ("rtsp://a:b@c@10.0.0.7/main", "url", "rtsp://10.0.0.7/main"),
        ("libcamerasrc ! videoconvert ! appsink", "pipeline", "libcamerasrc ! videoconvert ! appsink"),
        ("rtspsrc location=rtsp://u:p@cam ! appsink", "pipeline", "rtspsrc location=rtsp://cam ! appsink"),
    ],
)
def test_what_a_video_is_and_is_called(video: str, kind: str, shown: str) -> None:
    assert (kind_of(video), shown_video(video)) == (kind, shown)
