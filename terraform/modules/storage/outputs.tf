output "photo_bucket" {
  description = "The bucket of photos: {name, arn}."
  value       = { name = module.photos.name, arn = module.photos.arn }
}

output "backup_bucket" {
  description = "The bucket of backups: {name, arn}."
  value       = { name = module.backups.name, arn = module.backups.arn }
}

output "upload_queue" {
  description = "The queue that hears of uploads: {url, arn}."
  value       = { url = aws_sqs_queue.uploads.url, arn = aws_sqs_queue.uploads.arn }
}

output "dead_letter_queue_url" {
  description = "Where messages end that were received ten times and never deleted."
  value       = aws_sqs_queue.dead_letters.url
}
