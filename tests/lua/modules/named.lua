return { name = "named" }
