# --- functions

locals {
  functions = {
    presign  = data.aws_iam_policy_document.presign.json
    ingest   = data.aws_iam_policy_document.ingest.json
    identify = data.aws_iam_policy_document.identify.json
    grade    = data.aws_iam_policy_document.grade.json
    recover  = data.aws_iam_policy_document.recover.json
    s3source = data.aws_iam_policy_document.s3source.json
  }
}

# Users, not roles: kubeadm has no identity provider that STS could ask, all pods of a node would share the node's role, and
# the functions sign with a key. The keys are made by hand and never seen here, nor by the state: they go with their user, who
# could not be destroyed otherwise.
resource "aws_iam_user" "function" {
  for_each = local.functions

  name          = "${var.name}-${each.key}"
  path          = "/${var.name}/"
  force_destroy = true
}

resource "aws_iam_user_policy" "function" {
  for_each = local.functions

  name   = each.key
  user   = aws_iam_user.function[each.key].name
  policy = each.value
}

# --- nodes

# What runs on a node without a key of its own has the node's role: operators and backups on the control plane, dumps on
# the storage node. The other nodes have no role.

locals {
  tiers = {
    control-plane = {
      ebs-csi                  = data.aws_iam_policy_document.ebs_csi.json
      external-secrets         = data.aws_iam_policy_document.external_secrets.json
      load-balancer-controller = data.aws_iam_policy_document.load_balancer_controller.json
      backup                   = data.aws_iam_policy_document.backup.json
    }
    storage = {
      backup = data.aws_iam_policy_document.dump.json
    }
  }

  needs = merge([
    for tier, policies in local.tiers : { for need, policy in policies : "${tier}/${need}" => { tier = tier, need = need, policy = policy } }
  ]...)
}

data "aws_iam_policy_document" "ec2" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "node" {
  for_each = local.tiers

  name               = "${var.name}-${each.key}"
  path               = "/${var.name}/"
  assume_role_policy = data.aws_iam_policy_document.ec2.json
}

resource "aws_iam_instance_profile" "node" {
  for_each = local.tiers

  name = "${var.name}-${each.key}"
  path = "/${var.name}/"
  role = aws_iam_role.node[each.key].name
}

resource "aws_iam_role_policy" "node" {
  for_each = local.needs

  name   = each.value.need
  role   = aws_iam_role.node[each.value.tier].name
  policy = each.value.policy
}
