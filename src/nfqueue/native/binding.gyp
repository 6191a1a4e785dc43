{
  "targets": [
    {
      "target_name": "nfqueue",
      "sources": ["src/parse.c", "src/held.c", "src/socket.c", "src/message.c", "src/statistics.c", "src/verdict.c", "src/queue.c", "src/reader.c", "src/addon.c"],
      "defines": ["NAPI_VERSION=8", "_GNU_SOURCE"],
      "cflags": ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden", "-pthread"],
      "ldflags": ["-pthread"]
    }
  ]
}
