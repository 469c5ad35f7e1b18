environment   = "dev"
domain_name   = "dev.growbin.app"
photo_bucket  = "growbin-waste-photos-dev"
backup_bucket = "growbin-waste-backups-dev"
protected     = false
cpu_credits   = "standard"
backup_days   = 7

# Yours: the network you administrate from, the public half of your key, who is told of uploads that were lost ("": nobody).
admin_networks = { office = "203.0.113.10/32" }
ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleEx admin@example"
alarm_email    = ""
