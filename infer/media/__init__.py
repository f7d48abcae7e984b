"""What comes in and goes out: pictures, clips, cameras, their tracks and colours. Imports the ground (`errors`,
`files`, `frame`, `thumbnail`) and nothing else of ours."""
