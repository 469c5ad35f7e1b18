# What every environment needs before it can begin, once for the account.

module "state" {
  source = "../modules/bucket"

  name            = var.state_bucket
  versioned       = true
  noncurrent_days = 90
}

resource "aws_route53_zone" "this" {
  name    = var.zone_name
  comment = "growbin: every environment's names"
}
