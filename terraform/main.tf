locals {
  name = "growbin-${var.environment}"
}

data "aws_caller_identity" "current" {}

module "network" {
  source = "./modules/network"

  name    = local.name
  region  = var.region
  cidr    = var.vpc_cidr
  subnets = var.subnets
}

module "security_groups" {
  source = "./modules/security_groups"

  name              = local.name
  vpc_id            = module.network.vpc_id
  gateway_node_port = var.gateway_node_port
  admin_networks    = var.admin_networks
}

module "storage" {
  source = "./modules/storage"

  name          = local.name
  photo_bucket  = var.photo_bucket
  backup_bucket = var.backup_bucket
  cors_origins  = ["https://${var.domain_name}"]
  upload_days   = var.upload_days
  photo_days    = var.photo_days
  backup_days   = var.backup_days
  alarm_email   = var.alarm_email
}

module "edge" {
  source = "./modules/edge"

  name                = local.name
  zone_name           = var.zone_name
  domain_name         = var.domain_name
  vpc_id              = module.network.vpc_id
  subnet_ids          = values(module.network.subnet_ids)
  security_group_id   = module.security_groups.alb_id
  gateway_node_port   = var.gateway_node_port
  gateway_health_path = var.gateway_health_path
  protected           = var.protected

  gateway_instances = {
    for node in var.gateway_nodes : node => module.nodes.hosts[node].instance_id
  }
}

module "iam" {
  source = "./modules/iam"

  name              = local.name
  region            = var.region
  account_id        = data.aws_caller_identity.current.account_id
  photo_bucket_arn  = module.storage.photo_bucket.arn
  backup_bucket_arn = module.storage.backup_bucket.arn
  upload_queue_arn  = module.storage.upload_queue.arn
  target_group_arn  = module.edge.target_group_arn
  secrets           = var.secrets
}

module "nodes" {
  source = "./modules/nodes"

  name                   = local.name
  nodes                  = var.nodes
  subnet_ids             = module.network.subnet_ids
  nodes_group_id         = module.security_groups.nodes_id
  control_plane_group_id = module.security_groups.control_plane_id
  profiles               = module.iam.profiles
  ssh_public_key         = var.ssh_public_key
  cpu_credits            = var.cpu_credits
  protected              = var.protected
}
