output "ansible_inventory" {
  description = "terraform output -raw ansible_inventory > ../ansible/inventory/hosts.yml"
  value = yamlencode({
    all = {
      vars = {
        ansible_user      = "ubuntu"
        cluster_name      = local.name
        cluster_region    = var.region
        backup_bucket     = module.storage.backup_bucket.name
        cluster_api_names = [module.nodes.api_address]
      }
      children = {
        for tier in ["control-plane", "application", "async", "storage"] : replace(tier, "-", "_") => {
          hosts = {
            for name, host in module.nodes.hosts : "growbin-${name}" => {
              ansible_host           = host.public_ip
              node_private_ip        = host.private_ip
              node_instance_id       = host.instance_id
              node_availability_zone = host.zone
            } if host.tier == tier
          }
        }
      }
    }
  })
}

output "platform" {
  description = "What the overlay's ConfigMaps `platform`, `s3source` and `backup` must say."
  value = {
    S3_BUCKET     = module.storage.photo_bucket.name
    S3_REGION     = var.region
    CORS_ORIGINS  = module.edge.url
    QUEUE_URL     = module.storage.upload_queue.url
    BACKUP_BUCKET = module.storage.backup_bucket.name
  }
}

output "backup_bucket" {
  description = "Where backups go."
  value       = module.storage.backup_bucket.name
}

output "dead_letter_queue_url" {
  description = "To be empty: what is in it was received ten times and never handed to the broker."
  value       = module.storage.dead_letter_queue_url
}

output "function_users" {
  description = "Function → IAM user for which a key is made by hand."
  value       = module.iam.function_users
}

output "target_group_arn" {
  description = "For a TargetGroupBinding, where `gateway_nodes` is empty."
  value       = module.edge.target_group_arn
}

output "load_balancer_dns_name" {
  description = "What the app's name points to."
  value       = module.edge.load_balancer_dns_name
}

output "url" {
  description = "Where the app is."
  value       = module.edge.url
}

output "api_server" {
  description = "The Kubernetes API, for named networks."
  value       = "https://${module.nodes.api_address}:6443"
}
