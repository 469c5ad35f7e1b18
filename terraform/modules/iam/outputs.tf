output "profiles" {
  description = "Tier → instance profile of its nodes."
  value       = { for tier, profile in aws_iam_instance_profile.node : tier => profile.name }
}

output "function_users" {
  description = "Function → IAM user for which a key is made by hand."
  value       = { for function, user in aws_iam_user.function : function => user.name }
}
