mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name          = "growbin-test"
  photo_bucket  = "growbin-test-photos"
  backup_bucket = "growbin-test-backups"
  cors_origins  = ["https://growbin.app"]
  upload_days   = 8
  photo_days    = 100
  backup_days   = 30
  alarm_email   = "admin@example.org"
}

run "storage" {
  module {
    source = "./modules/storage"
  }

  assert {
    condition     = aws_s3_bucket_notification.uploads.queue[0].filter_prefix == "uploads/" && aws_s3_bucket_notification.uploads.queue[0].queue_arn == aws_sqs_queue.uploads.arn
    error_message = "what lands under uploads/ is said to the queue"
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.uploads.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead_letters.arn
    error_message = "what cannot be delivered goes to the dead letters"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.dead_letters.dimensions == tomap({ QueueName = "growbin-test-uploads-dead-letters" }) && one(aws_cloudwatch_metric_alarm.dead_letters.alarm_actions) == one(values(aws_sns_topic.alarms)).arn
    error_message = "an alarm looks at the dead letters and tells the topic"
  }

  assert {
    condition     = one(values(aws_sns_topic_subscription.alarms)).endpoint == "admin@example.org"
    error_message = "the topic tells the address"
  }

  assert {
    condition     = aws_sqs_queue.uploads.sqs_managed_sse_enabled && aws_sqs_queue.dead_letters.sqs_managed_sse_enabled
    error_message = "queues are encrypted"
  }

  assert {
    condition     = data.aws_iam_policy_document.uploads.statement[0].actions == toset(["sqs:SendMessage"]) && one(data.aws_iam_policy_document.uploads.statement[0].principals).identifiers == toset(["s3.amazonaws.com"])
    error_message = "only S3 may send"
  }

  assert {
    condition     = one(aws_s3_bucket_cors_configuration.photos.cors_rule).allowed_origins == toset(["https://growbin.app"])
    error_message = "only the app's origin may upload"
  }

  assert {
    condition     = output.photo_bucket.name != output.backup_bucket.name
    error_message = "photos and backups are in two buckets"
  }
}

run "bucket" {
  module {
    source = "./modules/bucket"
  }

  variables {
    name        = "growbin-test"
    versioned   = false
    expire_days = { "uploads/" = 8, "photos/" = 100 }
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls, aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls, aws_s3_bucket_public_access_block.this.restrict_public_buckets,
    ])
    error_message = "nothing in a bucket is public"
  }

  assert {
    condition     = { for rule in aws_s3_bucket_lifecycle_configuration.this.rule : rule.id => try(rule.expiration[0].days, 0) } == { "unfinished-uploads" = 0, "expire-photos" = 100, "expire-uploads" = 8 }
    error_message = "each prefix has its days"
  }

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Disabled"
    error_message = "who leaves is gone with their photos"
  }
}

run "nobody_to_tell" {
  module {
    source = "./modules/storage"
  }

  variables {
    alarm_email = ""
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.dead_letters.alarm_actions) == 0 && length(aws_sns_topic.alarms) == 0
    error_message = "without an address there is no topic, and still the alarm"
  }
}

run "originals_outlive_a_replay" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    upload_days = 1
  }

  expect_failures = [var.upload_days]
}

run "no_origin_for_everybody" {
  command = plan

  module {
    source = "./modules/storage"
  }

  variables {
    cors_origins = ["https://*.growbin.app"]
  }

  expect_failures = [var.cors_origins]
}
