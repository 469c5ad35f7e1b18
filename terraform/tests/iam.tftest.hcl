mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name              = "growbin-test"
  region            = "ap-northeast-2"
  account_id        = "123456789012"
  photo_bucket_arn  = "arn:aws:s3:::photos"
  backup_bucket_arn = "arn:aws:s3:::backups"
  upload_queue_arn  = "arn:aws:sqs:ap-northeast-2:123456789012:uploads"
  target_group_arn  = "arn:aws:elasticloadbalancing:ap-northeast-2:123456789012:targetgroup/gateway/0123456789abcdef"
  secrets           = ["postgres", "openai"]
}

run "least_privilege" {
  module {
    source = "./modules/iam"
  }

  assert {
    condition = { for statement in data.aws_iam_policy_document.presign.statement : join(",", statement.actions) => join(",", statement.resources) } == {
      "s3:PutObject" = "arn:aws:s3:::photos/uploads/*"
      "s3:GetObject" = "arn:aws:s3:::photos/photos/*"
    }
    error_message = "presign signs uploads and views, nothing else"
  }

  assert {
    condition     = flatten([for statement in data.aws_iam_policy_document.s3source.statement : tolist(statement.resources)]) == ["arn:aws:sqs:ap-northeast-2:123456789012:uploads"]
    error_message = "the poller knows one queue"
  }

  assert {
    condition     = !contains(flatten([for statement in data.aws_iam_policy_document.recover.statement : tolist(statement.actions)]), "s3:PutObject")
    error_message = "recover writes no photo"
  }

  assert {
    condition = data.aws_iam_policy_document.external_secrets.statement[0].resources == toset([
      "arn:aws:ssm:ap-northeast-2:123456789012:parameter/growbin-test/postgres",
      "arn:aws:ssm:ap-northeast-2:123456789012:parameter/growbin-test/openai",
    ])
    error_message = "secrets are read by name"
  }

  assert {
    condition     = data.aws_iam_policy_document.dump.statement[0].resources == toset(["arn:aws:s3:::backups/postgres/*"])
    error_message = "the storage node writes dumps, nothing else"
  }

  assert {
    condition     = keys(aws_iam_instance_profile.node) == ["control-plane", "storage"]
    error_message = "the nodes of functions have no role"
  }

  assert {
    condition     = alltrue([for user in aws_iam_user.function : user.force_destroy])
    error_message = "a user goes although somebody made a key"
  }
}

run "no_wildcard_secret" {
  command = plan

  module {
    source = "./modules/iam"
  }

  variables {
    secrets = ["*"]
  }

  expect_failures = [var.secrets]
}
