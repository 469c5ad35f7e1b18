# What the nodes of a tier may do in AWS.

# Every night from the control plane: PostgreSQL and etcd (ansible/roles/backup, which also brings them back).
data "aws_iam_policy_document" "backup" {
  statement {
    sid     = "WriteAndReadBackups"
    actions = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject"]
    resources = [
      "${var.backup_bucket_arn}/postgres/*",
      "${var.backup_bucket_arn}/etcd/*",
    ]
  }

  statement {
    sid       = "FindBackups"
    actions   = ["s3:ListBucket"]
    resources = [var.backup_bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["postgres/*", "etcd/*"]
    }
  }
}

# Every six hours from a pod beside the database (knative/data/backup.yaml), which reads nothing back.
data "aws_iam_policy_document" "dump" {
  statement {
    sid       = "WriteDumps"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${var.backup_bucket_arn}/postgres/*"]
  }
}

# Values are put into Parameter Store (SecureString, AWS's own key) by hand: named here one by one.
data "aws_iam_policy_document" "external_secrets" {
  statement {
    sid       = "ReadNamedSecrets"
    actions   = ["ssm:GetParameter", "ssm:GetParameters"]
    resources = [for secret in var.secrets : "arn:aws:ssm:${var.region}:${var.account_id}:parameter/${var.name}/${secret}"]
  }
}

# Only a TargetGroupBinding of our own target group: no load balancer, rule or security group is made from inside the cluster.
data "aws_iam_policy_document" "load_balancer_controller" {
  statement {
    sid       = "RegisterNodes"
    actions   = ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"]
    resources = [var.target_group_arn]
  }

  # AWS lets none of these be named.
  statement {
    sid = "Look"
    actions = [
      "ec2:DescribeAvailabilityZones",
      "ec2:DescribeInstances",
      "ec2:DescribeSubnets",
      "ec2:DescribeVpcs",
      "elasticloadbalancing:DescribeTargetGroups",
      "elasticloadbalancing:DescribeTargetHealth",
    ]
    resources = ["*"]
  }
}
