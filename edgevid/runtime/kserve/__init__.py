"""Models on a server that speaks the KServe v2 protocol (Triton, MLServer, OpenVINO Model Server)."""
