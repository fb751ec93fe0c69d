"""What to do about what a camera or a server answers, by a part of its text."""

LOGIN = "check the user and the password: USER:PASSWORD@ stands before the host"
REMEDIES = {
    "401": LOGIN,
    "unauthorized": LOGIN,
    "403": "this user has no permission for the stream: grant it in the camera's settings",
    "404": "check the path after the host; the camera's manual or its ONVIF page names it",
    "not found": "check the path after the host; the camera's manual or its ONVIF page names it",
    "web page": "open it in a browser and copy the address of the video itself",
    "refused": "no service answers on this port: is RTSP enabled, is the port right?",
    "certificate": "the camera's certificate is not trusted: add its issuer to this machine's certificates",
    "no such": "`ls /dev/video*` lists the cameras; is this user in the group `video`?",
    "no frame for": "the camera answers but sends no frame: is another program using up its connections?",
}


def remedy_for(detail: str) -> str:
    """What to do about `detail`, "" where nothing is known."""
    return next((text for key, text in REMEDIES.items() if key in detail.lower()), "")
