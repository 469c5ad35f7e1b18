# The whole root against a mocked AWS: what a plan and an apply of examples/prod.tfvars would make.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment    = "prod"
  domain_name    = "growbin.app"
  photo_bucket   = "growbin-waste-photos"
  backup_bucket  = "growbin-waste-backups"
  admin_networks = { office = "203.0.113.10/32", home = "198.51.100.7/32" }
  ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleEx admin@example"
}

run "cluster" {
  assert {
    condition     = toset(keys(yamldecode(output.ansible_inventory).all.children)) == toset(["control_plane", "application", "async", "storage"])
    error_message = "the inventory has the four tiers as groups"
  }

  assert {
    condition     = yamldecode(output.ansible_inventory).all.vars.cluster_name == "growbin-prod" && yamldecode(output.ansible_inventory).all.vars.cluster_region == "ap-northeast-2"
    error_message = "the inventory names the cluster and its region"
  }

  assert {
    condition     = yamldecode(output.ansible_inventory).all.children.control_plane.hosts["growbin-master"].ansible_host == "198.51.100.10"
    error_message = "Ansible reaches the master at its Elastic IP"
  }

  assert {
    condition     = yamldecode(output.ansible_inventory).all.children.async.hosts["growbin-worker-2"].ansible_host == "198.51.100.20"
    error_message = "Ansible reaches a worker at its public address"
  }

  assert {
    condition     = output.api_server == "https://198.51.100.10:6443"
    error_message = "the API server is at the Elastic IP"
  }

  assert {
    condition     = output.url == "https://growbin.app"
    error_message = "the app is at its domain"
  }

  assert {
    condition     = output.platform.S3_BUCKET == "growbin-waste-photos"
    error_message = "the functions are told the photo bucket"
  }

  assert {
    condition     = output.function_users["ingest"] == "growbin-prod-ingest"
    error_message = "a function has a user of its own"
  }
}

run "no_third_environment" {
  command = plan

  variables {
    environment = "staging"
  }

  expect_failures = [var.environment]
}
