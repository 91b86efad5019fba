import { createServer, type Server as NetServer, type Socket } from "node:net";
import { expect, PASSWORD, Server, test, withServer } from "./server";

/** A mail server (RFC 5321) of one connection's needs: refuses recipients, or takes what it is given. */
class MailServer {
  isRepaired = false;
  readonly taken: string[] = [];
  private readonly sockets = new Set<Socket>();
  private readonly server: NetServer = createServer((socket) => {
    this.sockets.add(socket.on("error", () => {}));
    socket.write("220 mail.example.com ESMTP\r\n");
    let [rest, isText, recipient] = ["", false, ""];
    socket.on("data", (chunk) => {
      const lines = (rest + chunk).split("\r\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (isText) {
          if (line !== ".") continue;
          isText = false;
          this.taken.push(recipient);
          socket.write("250 2.0.0 taken\r\n");
        } else if (/^rcpt to:/i.test(line)) {
          recipient = /<(.*)>/.exec(line)?.[1] ?? "";
          socket.write(this.isRepaired ? "250 2.1.5 ok\r\n" : "451 4.3.0 the disk is full\r\n");
        } else if (/^data/i.test(line)) {
          isText = true;
          socket.write("354 go on\r\n");
        } else if (/^quit/i.test(line)) socket.end("221 2.0.0 bye\r\n");
        else socket.write("250 ok\r\n");
      }
    });
  });

  async start(port: number) {
    await new Promise<void>((done) => this.server.listen(port, "127.0.0.1", done));
  }

  stop() {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }
}

test("an administrator sees why a mail waits, and has it sent once the mail server is repaired", async ({ page }) => {
  const port = await Server.freePort();
  const mails = new MailServer();
  await mails.start(port);
  try {
    await withServer({ SMTP_URL: `smtp://127.0.0.1:${port}?tls=none` }, async (server) => {
      server.createUser("admin@example.com", "admin", "Huda Admin");
      server.createUser("sara@example.com", "user", "سارة الحربي");
      await page.request.post(`${server.url}/auth/password/forgot`, { data: { email: "sara@example.com" } });
      await server.signIn(page, "admin@example.com", PASSWORD, "/login?return_to=%2Fconsole%2Foutbox");
      const row = page.getByRole("row").filter({ hasText: "Reset password" });
      await expect(row).toContainText("sara@example.com", { timeout: 30_000 });
      await expect(row).toContainText("Waiting", { timeout: 30_000 });
      await expect(row).toContainText("4.3.0", { timeout: 30_000 });
      await page.getByLabel("Status").selectOption("sent");
      await expect(page.getByText("No matching emails.")).toBeVisible();
      await page.getByLabel("Status").selectOption("waiting");
      await expect(page).toHaveURL(/state=waiting/);
      mails.isRepaired = true;
      await row.getByRole("button", { name: /^Retry the email to .*sara@example\.com/ }).click();
      await expect(page.getByText("We're sending the email to")).toBeVisible();
      await page.getByLabel("Status").selectOption("sent");
      await expect(row).toContainText("Sent", { timeout: 30_000 });
      await expect(row.getByRole("button")).toHaveCount(0);
      expect(mails.taken.filter((recipient) => recipient === "sara@example.com")).toHaveLength(1);
      await row.getByRole("link", { name: "sara@example.com" }).click();
      await expect(page.getByRole("heading", { level: 1, name: "سارة الحربي" })).toBeVisible();
      await page.getByRole("link", { name: "Audit trail", exact: true }).click();
      await page.getByLabel("Event").selectOption("mail_retry");
      await expect(page.locator("tbody tr")).toHaveCount(1);
    });
  } finally {
    mails.stop();
  }
});
