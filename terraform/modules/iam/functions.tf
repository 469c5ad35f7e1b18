# What each function may do in AWS. HEAD and GET of what is not there answer 404 only to who may list the bucket (403 else),
# and `ping` is HEAD of the bucket: so whoever reads may list; a condition on the prefix would bring the 403 back.

data "aws_iam_policy_document" "presign" {
  statement {
    sid       = "SignUploads"
    actions   = ["s3:PutObject"]
    resources = ["${var.photo_bucket_arn}/uploads/*"]
  }

  statement {
    sid       = "SignViews"
    actions   = ["s3:GetObject"]
    resources = ["${var.photo_bucket_arn}/photos/*"]
  }
}

data "aws_iam_policy_document" "ingest" {
  statement {
    sid       = "KnowWhatIsThere"
    actions   = ["s3:ListBucket"]
    resources = [var.photo_bucket_arn]
  }

  statement {
    sid       = "TakeOriginals"
    actions   = ["s3:GetObject", "s3:DeleteObject"]
    resources = ["${var.photo_bucket_arn}/uploads/*"]
  }

  statement {
    sid       = "KeepCopies"
    actions   = ["s3:PutObject"]
    resources = ["${var.photo_bucket_arn}/photos/*"]
  }
}

data "aws_iam_policy_document" "identify" {
  statement {
    sid       = "KnowWhatIsThere"
    actions   = ["s3:ListBucket"]
    resources = [var.photo_bucket_arn]
  }

  statement {
    sid       = "LookAtCopies"
    actions   = ["s3:GetObject"]
    resources = ["${var.photo_bucket_arn}/photos/*"]
  }
}

data "aws_iam_policy_document" "grade" {
  statement {
    sid       = "KnowWhatIsThere"
    actions   = ["s3:ListBucket"]
    resources = [var.photo_bucket_arn]
  }

  statement {
    sid       = "LookAtCopies"
    actions   = ["s3:GetObject"]
    resources = ["${var.photo_bucket_arn}/photos/*"]
  }
}

data "aws_iam_policy_document" "recover" {
  statement {
    sid       = "KnowWhatIsThere"
    actions   = ["s3:ListBucket"]
    resources = [var.photo_bucket_arn]
  }

  statement {
    sid       = "FindOriginals"
    actions   = ["s3:GetObject"]
    resources = ["${var.photo_bucket_arn}/uploads/*"]
  }

  statement {
    sid       = "DeleteWhatIsOver"
    actions   = ["s3:DeleteObject"]
    resources = ["${var.photo_bucket_arn}/uploads/*", "${var.photo_bucket_arn}/photos/*"]
  }
}

data "aws_iam_policy_document" "s3source" {
  statement {
    sid       = "EmptyTheQueue"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"]
    resources = [var.upload_queue_arn]
  }
}
