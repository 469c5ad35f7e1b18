mock_provider "aws" {
  source = "./tests/mocks"
}

run "bootstrap" {
  module {
    source = "./bootstrap"
  }

  variables {
    state_bucket = "growbin-test-state"
  }

  assert {
    condition     = output.state_bucket == "growbin-test-state"
    error_message = "the state lies in the bucket that was named"
  }

  assert {
    condition     = aws_route53_zone.this.name == "growbin.app"
    error_message = "the zone is the app's domain"
  }
}
