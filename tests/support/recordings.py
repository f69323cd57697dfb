from dexvla.spec import ALOHA_CAMERAS, CameraSpec

SMALL_CAMERAS = (CameraSpec(name=ALOHA_CAMERAS[0], height=48, width=64),)  # one, and quickly rendered
