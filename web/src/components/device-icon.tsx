import { CircleHelp, Laptop, Smartphone } from "lucide-react";

/** What kind of device a session or a known device is on, as far as its name says. */
export function DeviceIcon({ device }: { device: string }) {
  const Icon = device === "" ? CircleHelp : /android|iphone|ipad|ios\b/i.test(device) ? Smartphone : Laptop;
  return <Icon className="icon" />;
}
