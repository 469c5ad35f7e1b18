mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                = "growbin-test"
  zone_name           = "growbin.app"
  domain_name         = "growbin.app"
  vpc_id              = "vpc-0123456789abcdef0"
  subnet_ids          = ["subnet-a", "subnet-b"]
  security_group_id   = "sg-alb"
  gateway_node_port   = 30080
  gateway_health_path = "/healthz"
  gateway_instances   = { worker-1 = "i-0123456789abcdef0" }
  protected           = true
}

run "edge" {
  module {
    source = "./modules/edge"
  }

  assert {
    condition     = aws_lb_target_group.gateway.target_type == "instance" && aws_lb_target_group.gateway.port == 30080
    error_message = "targets are instances at the gateway's NodePort"
  }

  assert {
    condition     = aws_lb_target_group_attachment.gateway["worker-1"].target_id == "i-0123456789abcdef0"
    error_message = "the named nodes are registered"
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].redirect[0].protocol == "HTTPS"
    error_message = "HTTP is redirected"
  }

  assert {
    condition     = aws_lb_listener.https.default_action[0].type == "fixed-response" && one(aws_lb_listener_rule.gateway.action).target_group_arn == aws_lb_target_group.gateway.arn
    error_message = "only our name is forwarded"
  }

  assert {
    condition     = aws_acm_certificate.this.validation_method == "DNS" && aws_route53_record.validation.name == "_mocked.growbin.app."
    error_message = "the certificate is validated by DNS"
  }

  assert {
    condition     = aws_route53_record.app.name == "growbin.app" && one(aws_route53_record.app.alias).name == aws_lb.this.dns_name
    error_message = "the name points to the load balancer"
  }
}

run "a_domain_of_somebody_else" {
  command = plan

  module {
    source = "./modules/edge"
  }

  variables {
    domain_name = "notgrowbin.app"
  }

  expect_failures = [var.domain_name]
}
