"""LeRobot datasets: v3.0 and v2.1 in, v3.0 out. By pyarrow and PyAV alone, never by the package lerobot."""
