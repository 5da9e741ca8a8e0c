// A web server of Node's own library.
const http = require("node:http");

const port = Number(process.env.PORT || 3000);
const server = http.createServer((request, response) => {
  response.end("Hello from Node\n");
});
server.listen(port, () => console.log(`listening on ${port}`));

// Freehold asks it to stop with SIGTERM: what is being answered is answered, then it ends.
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
