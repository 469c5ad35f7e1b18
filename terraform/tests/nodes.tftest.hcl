mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                   = "growbin-test"
  subnet_ids             = { ap-northeast-2a = "subnet-a", ap-northeast-2b = "subnet-b" }
  nodes_group_id         = "sg-nodes"
  control_plane_group_id = "sg-control-plane"
  profiles               = { control-plane = "growbin-test-control-plane" }
  cpu_credits            = "standard"
  protected              = true
  ssh_public_key         = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleEx admin@example"
  nodes = {
    master   = { tier = "control-plane", instance_type = "t3.large", disk_gb = 80, zone = "ap-northeast-2a" }
    worker-1 = { tier = "application", instance_type = "t3.medium", disk_gb = 60, zone = "ap-northeast-2b" }
  }
}

run "nodes" {
  module {
    source = "./modules/nodes"
  }

  assert {
    condition     = alltrue([for node in aws_instance.this : node.metadata_options[0].http_tokens == "required" && node.metadata_options[0].http_put_response_hop_limit == 2])
    error_message = "IMDSv2 only, two hops"
  }

  assert {
    condition     = alltrue([for node in aws_instance.this : node.root_block_device[0].encrypted && node.root_block_device[0].volume_type == "gp3"])
    error_message = "disks are encrypted gp3"
  }

  assert {
    condition     = aws_instance.this["master"].root_block_device[0].volume_size == 80
    error_message = "the master has 80 GB"
  }

  assert {
    condition     = aws_instance.this["master"].vpc_security_group_ids == toset(["sg-nodes", "sg-control-plane"]) && aws_instance.this["worker-1"].vpc_security_group_ids == toset(["sg-nodes"])
    error_message = "only the control plane is in its group"
  }

  assert {
    condition     = aws_instance.this["master"].iam_instance_profile == "growbin-test-control-plane" && aws_instance.this["worker-1"].iam_instance_profile != "growbin-test-control-plane"
    error_message = "only the tiers named have a profile"
  }

  assert {
    condition     = aws_instance.this["worker-1"].subnet_id == "subnet-b"
    error_message = "a node is in its zone"
  }
}

run "two_control_planes" {
  command = plan

  module {
    source = "./modules/nodes"
  }

  variables {
    nodes = {
      master = { tier = "control-plane", instance_type = "t3.large", disk_gb = 80, zone = "ap-northeast-2a" }
      second = { tier = "control-plane", instance_type = "t3.large", disk_gb = 80, zone = "ap-northeast-2b" }
    }
  }

  expect_failures = [var.nodes]
}

run "a_private_key_is_refused" {
  command = plan

  module {
    source = "./modules/nodes"
  }

  variables {
    ssh_public_key = "-----BEGIN OPENSSH PRIVATE KEY-----"
  }

  expect_failures = [var.ssh_public_key]
}
