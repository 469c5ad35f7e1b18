environment   = "prod"
domain_name   = "growbin.app"
photo_bucket  = "growbin-waste-photos"
backup_bucket = "growbin-waste-backups"

# Yours: the network you administrate from, the public half of your key, who is told of uploads that were lost ("": nobody).
admin_networks = { office = "203.0.113.10/32" }
ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleEx admin@example"
alarm_email    = ""
