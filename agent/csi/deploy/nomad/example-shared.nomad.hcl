# One volume in two tasks of a group: one writes, the other one only reads.
job "greetings" {
  datacenters = ["*"]

  group "both" {
    volume "data" {
      type            = "csi"
      source          = "greetings"
      access_mode     = "single-node-writer"
      attachment_mode = "file-system"
    }

    task "writer" {
      driver = "docker"
      user   = "1000"

      config {
        image   = "docker.io/library/busybox:1.37"
        command = "sh"
        args    = ["-c", "echo hi > /data/greeting && sleep 3600"]
      }

      volume_mount {
        volume      = "data"
        destination = "/data"
      }
    }

    task "reader" {
      driver = "docker"
      user   = "1000"

      config {
        image   = "docker.io/library/busybox:1.37"
        command = "sh"
        args    = ["-c", "until cat /data/greeting; do sleep 1; done; sleep 3600"]
      }

      volume_mount {
        volume      = "data"
        destination = "/data"
        read_only   = true
      }
    }
  }
}
