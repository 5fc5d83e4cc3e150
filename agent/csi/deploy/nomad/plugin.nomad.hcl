# Makes the agent of each client known to Nomad. The agent is a service of the host
# (tenon.service); this task only passes connections on to its socket, so that stopping or
# upgrading the job never touches what is mounted.
job "tenon-csi" {
  type        = "system"
  datacenters = ["*"]

  group "plugin" {
    task "plugin" {
      driver = "docker"

      config {
        image      = "docker.io/alpine/socat:1.8.0.3"
        args       = ["UNIX-LISTEN:/csi/csi.sock,fork,unlink-early", "UNIX-CONNECT:/run/tenon/csi.sock"]
        privileged = true

        volumes = ["/run/tenon:/run/tenon"]
      }

      csi_plugin {
        id        = "tenon"
        type      = "monolith"
        mount_dir = "/csi"

        # The agent is outside of the task, so targets must be called what they are called on
        # the host: <data_dir>/client/csi/monolith/<id>. The directory above it is one of the
        # agent's roots for CSI.
        stage_publish_base_dir = "/opt/nomad/data/client/csi/monolith/tenon"
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
