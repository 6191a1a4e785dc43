{
  "variables": {
    # 1: linked against nothing, to be loaded by any node (binaries.sh)
    "portable%": 0
  },
  "targets": [
    {
      "target_name": "nfqueue",
      "sources": [
        "src/addon.c",
        "src/held.c",
        "src/memory.c",
        "src/message.c",
        "src/parse.c",
        "src/queue.c",
        "src/reader.c",
        "src/socket.c",
        "src/statistics.c",
        "src/verdict.c"
      ],
      "defines": ["NAPI_VERSION=8", "_GNU_SOURCE"],
      "cflags": ["-std=gnu11", "-Wall", "-Wextra", "-fvisibility=hidden", "-pthread"],
      "ldflags": ["-static-libgcc"],
      "conditions": [
        ["portable==1", {
          "cflags": ["-fno-stack-protector", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-U_FORTIFY_SOURCE"],
          "ldflags": ["-nostdlib"],
          "libraries": ["-lgcc"]
        }]
      ]
    }
  ]
}
