locals {
  uploads = "uploads/"
  photos  = "photos/"
  backups = ["postgres/", "etcd/"]
}

data "aws_caller_identity" "current" {}

# --- photos

module "photos" {
  source = "../bucket"

  name        = var.photo_bucket
  versioned   = false
  expire_days = { (local.uploads) = var.upload_days, (local.photos) = var.photo_days }
}

# The form of a presigned POST, and the picture a citizen looks at again.
resource "aws_s3_bucket_cors_configuration" "photos" {
  bucket = module.photos.name

  cors_rule {
    id              = "app"
    allowed_origins = var.cors_origins
    allowed_methods = ["POST", "GET", "HEAD"]
    allowed_headers = ["content-type"]
    expose_headers  = ["ETag"]
    max_age_seconds = 3600
  }
}

# --- what was uploaded is said to a queue, which the poller `s3source` empties

resource "aws_sqs_queue" "uploads" {
  name                       = "${var.name}-uploads"
  sqs_managed_sse_enabled    = true
  visibility_timeout_seconds = 60
  receive_wait_time_seconds  = 20
  message_retention_seconds  = 4 * 24 * 3600
  tags                       = { Name = "${var.name}-uploads" }

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = 10
  })
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = "${var.name}-uploads-dead-letters"
  sqs_managed_sse_enabled   = true
  message_retention_seconds = 14 * 24 * 3600
  tags                      = { Name = "${var.name}-uploads-dead-letters" }
}

resource "aws_sqs_queue_redrive_allow_policy" "dead_letters" {
  queue_url = aws_sqs_queue.dead_letters.id

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.uploads.arn]
  })
}

# Nobody in the cluster may read the dead letters, so AWS itself calls.
resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  alarm_name          = "${var.name}-uploads-dead-letters"
  alarm_description   = "Uploads that the broker was never told of, after ten tries. Where and what: docs/deploy.md, What is watched."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead_letters.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [for topic in aws_sns_topic.alarms : topic.arn]
  tags                = { Name = "${var.name}-uploads-dead-letters" }
}

resource "aws_sns_topic" "alarms" {
  for_each = toset(var.alarm_email == "" ? [] : [var.alarm_email])

  name = "${var.name}-alarms"
  tags = { Name = "${var.name}-alarms" }
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = aws_sns_topic.alarms

  topic_arn = each.value.arn
  protocol  = "email"
  endpoint  = each.key
}

data "aws_iam_policy_document" "uploads" {
  statement {
    sid       = "PhotoBucketSpeaks"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.uploads.arn]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [module.photos.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.uploads.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "uploads" {
  queue_url = aws_sqs_queue.uploads.id
  policy    = data.aws_iam_policy_document.uploads.json
}

resource "aws_s3_bucket_notification" "uploads" {
  bucket = module.photos.name

  queue {
    id            = "uploads"
    queue_arn     = aws_sqs_queue.uploads.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = local.uploads
  }

  depends_on = [aws_sqs_queue_policy.uploads]
}

# --- backups

module "backups" {
  source = "../bucket"

  name        = var.backup_bucket
  versioned   = true
  expire_days = { for prefix in local.backups : prefix => var.backup_days }
}
