locals {
  control_plane = { for name, node in var.nodes : name => node if node.tier == "control-plane" }
}

# Canonical's own pointer to the newest Ubuntu 22.04.
data "aws_ssm_parameter" "ubuntu" {
  name = "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"
}

# The public half only: the private key is made by its owner and never seen here, nor by the state.
resource "aws_key_pair" "admin" {
  key_name_prefix = "${var.name}-"
  public_key      = var.ssh_public_key
}

resource "aws_instance" "this" {
  for_each = var.nodes

  ami                         = data.aws_ssm_parameter.ubuntu.insecure_value
  instance_type               = each.value.instance_type
  subnet_id                   = var.subnet_ids[each.value.zone]
  vpc_security_group_ids      = concat([var.nodes_group_id], each.value.tier == "control-plane" ? [var.control_plane_group_id] : [])
  associate_public_ip_address = true
  key_name                    = aws_key_pair.admin.key_name
  iam_instance_profile        = lookup(var.profiles, each.value.tier, null)
  disable_api_termination     = var.protected
  ebs_optimized               = true

  # Two hops: pods without the host's network (EBS CSI) are one behind the node.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }

  credit_specification {
    cpu_credits = var.cpu_credits
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = each.value.disk_gb
    encrypted   = true
    tags        = { Name = "${var.name}-${each.key}", Cluster = var.name }
  }

  tags = { Name = "${var.name}-${each.key}", Cluster = var.name, Tier = each.value.tier }

  # A newer image must not replace a node with everything on it; `terraform apply -replace` does that on purpose.
  lifecycle {
    ignore_changes = [ami]
  }
}

# The API server keeps its address when its node is stopped.
resource "aws_eip" "control_plane" {
  for_each = local.control_plane

  domain   = "vpc"
  instance = aws_instance.this[each.key].id
  tags     = { Name = "${var.name}-${each.key}" }
}
